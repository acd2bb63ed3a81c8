"""What is wrong with a target as far as the recipe, tables and files tell, all of it located; runs no user code."""

from onnxbuild.recipe.checks.contract import check_contract
from onnxbuild.recipe.checks.files import FileChecks

__all__ = ["FileChecks", "check_contract"]
