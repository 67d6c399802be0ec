"""Token-by-token streaming from LLMs on Seldon Core 2, from laptop to cluster."""
