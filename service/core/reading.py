"""What a client wrote, as one of the models: lines, frames, bodies; and in words what is wrong with them. Pure."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.core import strict_json
from service.core.errors import ClientError, Fault
from service.core.frames import FRAMES, ClientFrame, FieldError

Model = TypeVar("Model", bound=BaseModel)
LONGEST_TOLD = 64
"""Characters of a field's name that an error repeats."""

_FORMS = {
    "string_pattern_mismatch": "a name has 1 to 128 characters of A-Z a-z 0-9 . _ - @ : + (a message id at most 64); "
    "a cursor is <ms>-<seq>",
    "extra_forbidden": "this field is not known here",
    "missing": "this field is required",
}
"""What the models say in patterns, in words."""


def first_fault(error: ValidationError) -> Fault:
    """The first thing a model found wrong, as the client is told it."""
    errors = error.errors(include_url=False, include_input=False)
    # `to` takes a name or a list: what the other form would have wanted explains nothing.
    found = next((e for e in errors if e["type"] not in ("string_type", "list_type")), errors[0])
    what = _FORMS.get(found["type"], found["msg"])
    if found["loc"]:
        return _fault_of(str(found["loc"][0]), what)
    together = found.get("ctx", {}).get("error")
    return (
        _fault_of(together.field, str(together)) if isinstance(together, FieldError) else Fault("invalid_field", what)
    )


def _fault_of(field: str, what: str) -> Fault:
    """An unknown field may have a name of any length: an error is no echo."""
    field = field if len(field) <= LONGEST_TOLD else f"{field[:LONGEST_TOLD]}…"
    return Fault("invalid_field", f"{field}: {what}" if field else what, field)


def validate(model: type[Model], value: Any) -> Model:
    """`value` as `model`. Raises ClientError `invalid_field`."""
    known = model.__pydantic_fields__
    if isinstance(value, dict) and len(value) > len(known):  # tens of thousands would each become an error
        names = {field.alias or name for name, field in known.items()}
        raise _refusal(_fault_of(next(name for name in value if name not in names), _FORMS["extra_forbidden"]))
    try:
        checked: Model = model.__pydantic_validator__.validate_python(value)  # model_validate, without its options
    except ValidationError as error:
        raise _refusal(first_fault(error)) from None
    return checked


def _refusal(fault: Fault) -> ClientError:
    return ClientError(fault.code, fault.detail, fault.field)


def read_object(line: bytes) -> dict[str, Any]:
    """One line of a WebSocket frame. Raises ClientError `malformed_json` for anything but an object."""
    value = strict_json.loads(line)
    if not isinstance(value, dict):
        raise ClientError("malformed_json", "a frame is a JSON object")
    return value


def read_frame(value: dict[str, Any]) -> ClientFrame:
    """A client's frame. Raises ClientError `unknown_type` or `invalid_field`."""
    kind = value.get("type")
    model = FRAMES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ClientError("unknown_type", "type is missing or not known", "type")
    return validate(model, value)
