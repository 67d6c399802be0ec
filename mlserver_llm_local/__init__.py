"""The import path that ``model-settings.json`` files name: ``mlserver_llm_local.runtime.Local``."""
