"""Built-in steps, for pipelines (call them) and for the operators of the same names.

Importing them is cheap: what they need is imported when they run.
"""

from .datasets import append_dataset, read_dataset
from .models import deploy_model, promote_model, register_model
from .predictions import predict_batch
from .validation import validate_data

__all__ = [
    "append_dataset",
    "deploy_model",
    "predict_batch",
    "promote_model",
    "read_dataset",
    "register_model",
    "validate_data",
]
