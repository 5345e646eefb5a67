"""Tool metadata for LlamaIndex: deputize's own schema, unchanged, instead of one derived from the model."""

from __future__ import annotations

import json
from typing import Any

from llama_index.core.tools import ToolMetadata

from deputize.core import Tool

__all__ = ["ShownTool"]


class ShownTool(ToolMetadata):
    """Name, description and schema of a tool, as a model sees them."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(name=tool.name, description=tool.description, fn_schema=tool.model)
        self.schema = tool.schema

    def get_parameters_dict(self) -> dict[str, Any]:
        """Return the schema."""
        return dict(self.schema)

    @property
    def fn_schema_str(self) -> str:
        """The schema as JSON. A tool described by a schema has no argument model."""
        return json.dumps(self.schema, ensure_ascii=False)
