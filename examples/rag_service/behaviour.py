"""What an operator may change of an agent while it runs, and how the demo makes things go wrong."""

from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


@dataclass
class Behaviour:
    """What an operator changed for the better, and what went wrong."""

    retrieval_delay_ms: float = 0.0
    prompt_version: str = "1"


async def set_behaviour(request: Request) -> Response:
    """Takes any field of Behaviour."""
    behaviour: Behaviour = request.app.state.behaviour
    for name, value in (await request.json()).items():
        if not hasattr(behaviour, name):
            return JSONResponse({"error": f"{name} is none of {', '.join(asdict(behaviour))}"}, 400)
        setattr(behaviour, name, value)
    return JSONResponse(asdict(behaviour))
