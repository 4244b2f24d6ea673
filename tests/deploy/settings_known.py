"""Whether an environment variable that a deployment sets is a setting of `pdm`."""

from pydantic import BaseModel

from pdm.config import Settings


def is_known(variable: str) -> bool:
    model: type[BaseModel] = Settings
    *blocks, name = variable.removeprefix("PDM_").lower().split("__")
    for block in blocks:
        field = model.model_fields.get(block)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return False
        model = field.annotation
    return variable.startswith("PDM_") and name in model.model_fields
