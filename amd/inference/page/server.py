"""The page's addresses, on 127.0.0.1 alone: FastAPI, which is there already, and the page's own script.

    GET    /, /static/…                         the page
    GET    /about                               exports, limits, what masks are drawn in
    GET    /jobs                                all jobs (amd.inference.page.desk)
    POST   /jobs?name=NAME                      a file as the body; larger ones than the inbox takes are cut off
    DELETE /jobs/ID                             forget it, with its files
    GET    /jobs/ID/preview                     what is played
    POST   /jobs/ID/exports?kind=&threshold=    wish for an export; GET /jobs/ID/exports/KEY has it once it is done

A request that another site's page makes is refused. What a user may read of an error is {"error": one line}.
"""

import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from amd.config.profiles import local_params
from amd.data.video.rules import refuse_bytes
from amd.draw.overlay import COLOUR, OPACITY, OUTLINE
from amd.inference.choice import Choice
from amd.inference.export import EXPORTS
from amd.inference.methods import open_method
from amd.inference.page.desk import THRESHOLDS, Asked, Desk
from amd.inference.page.preview import HALF
from amd.runtime.errors import UserError

HOST = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
CLOSE_S = 2  # for answers that are under way when the page ends


def serve(model: str | None = None, method: str | None = None, device: str = "auto", port: int = 8300) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then delete what was dropped and made.

    `model`, `method` and `device` are those of amd.inference.methods.Choice. UserError for words that do not go
    together, a model that cannot be had, and a port that is taken.
    """
    asked = Asked(model, method, device)
    if model is not None:  # one that cannot be had is wrong for every clip
        open_method(Choice(model, method, device=device))
    limits = local_params().inbox
    with _listening(port) as listener:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # a closed terminal ends it as Ctrl-C does
        try:
            with tempfile.TemporaryDirectory(prefix="amd-demo-") as folder, Desk(Path(folder), limits, asked) as desk:
                print(f"open http://{HOST}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
                config = uvicorn.Config(make_app(desk), log_level="warning", timeout_graceful_shutdown=CLOSE_S)
                uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # the way that a page ends
            pass
    print("ended; what was dropped and made is deleted")


def make_app(desk: Desk) -> FastAPI:
    """The page's application over a desk."""
    app = FastAPI(title="amd demo", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.middleware("http")(_own_page_only)
    app.add_exception_handler(UserError, _as_json)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.get("/")(lambda: FileResponse(STATIC / "index.html"))
    app.get("/about")(lambda: _about(desk))
    app.get("/jobs")(desk.view)
    app.post("/jobs")(_receiver(desk))
    app.delete("/jobs/{number}")(desk.remove)
    app.get("/jobs/{number}/preview")(lambda number: FileResponse(desk.preview(number)))
    app.post("/jobs/{number}/exports")(desk.export)

    @app.get("/jobs/{number}/exports/{key}")
    def exported(number: str, key: str) -> FileResponse:
        path = desk.exported(number, key)
        return FileResponse(path, filename=path.name)

    return app


def _receiver(desk: Desk) -> Callable[..., Awaitable[dict[str, str]]]:
    """The function that takes a file as it comes, and not more of it than the limit."""

    async def receive(name: str, request: Request) -> dict[str, str]:
        job = desk.open(name)
        try:
            with job.file.open("wb") as file:
                async for piece in request.stream():
                    file.write(piece)
                    if reason := refuse_bytes(file.tell(), desk.limits):
                        raise UserError(f"{name}: {reason}")
        except BaseException:  # also when the browser goes away
            desk.remove(job.id)
            raise
        desk.submit(job)
        return {"id": job.id}

    return receive


def _about(desk: Desk) -> dict[str, object]:
    limits = desk.limits
    return {
        "exports": {name: kind.summary for name, kind in EXPORTS.items()},
        "images": desk.asked.takes_images,
        "limits": {"bytes": limits.max_bytes, "minutes": limits.max_minutes, "pixels": limits.max_pixels},
        "overlay": {"colour": COLOUR, "opacity": OPACITY, "outline": OUTLINE},
        "threshold": {"least": THRESHOLDS[0], "most": THRESHOLDS[1], "own": HALF},
    }


async def _own_page_only(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what a page of another site sends here; browsers say where a request comes from."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers.get('host')}":
        return JSONResponse({"error": "a request of another site's page"}, 403)
    return await call_next(request)


async def _as_json(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 422)


def _listening(port: int) -> socket.socket:
    """A socket that listens on HOST; port 0 takes any that is free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # who reads the address may ask at once
    except OSError as error:
        listener.close()
        raise UserError(f"--port {port}: {error.strerror}; give another one, 0 for any") from None
    return listener
