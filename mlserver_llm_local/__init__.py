"""The Local runtime's import path in ``model-settings.json`` files: ``mlserver_llm_local.runtime.Local``."""
