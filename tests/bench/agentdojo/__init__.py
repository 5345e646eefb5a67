"""AgentDojo with deputize between the agent and its tools: ``python -m tests.bench.agentdojo``.

AgentDojo (MIT, https://agentdojo.spylab.ai) plays an agent whose tools return text with an attacker's instructions. Its
tools for mail, calendar and Slack run through deputize's toolkits on the sandbox. Its tools for travel and banking run
through toolkits that `deputize.openapi` generates from a description of them. AgentDojo's own environment is a mirror:
it changes only after deputize's tool succeeded, its own judges decide on it, and it is compared with the sandbox at the
end.
"""
