"""The features of LangGraph and of LangChain's agents, each with a conversation in which Alice's agent sends a mail."""
