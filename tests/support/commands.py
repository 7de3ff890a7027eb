"""What `amd` says when it refuses."""

from collections.abc import Callable

import pytest


def refused(capsys: pytest.CaptureFixture[str], call: Callable[..., object], *arguments: object) -> str:
    """The last line on stderr of a call that ends with exit status 2."""
    with pytest.raises(SystemExit) as end:
        call(*arguments)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]
