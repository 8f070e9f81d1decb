"""Models of other servers, asked through an OpenAI-compatible chat endpoint."""
