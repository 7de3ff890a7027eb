"""The last line of a program that ends early says why, below progress lines that were open."""

import pytest

from amd.runtime.errors import UserError, exit_on_user_error
from amd.runtime.progress import progress


@pytest.mark.parametrize(
    ("ending", "status", "last"),
    [(UserError("no such clip"), 2, "error: no such clip"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_the_reason_is_the_last_line(
    ending: BaseException, status: int, last: str, capsys: pytest.CaptureFixture
) -> None:
    @exit_on_user_error
    def program() -> None:
        open_line = iter(progress(range(3), "frames"))
        next(open_line)
        raise ending

    with pytest.raises(SystemExit) as ended:
        program()
    assert ended.value.code == status
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("frames:") for line in lines)
    assert lines[-1].startswith(last)
