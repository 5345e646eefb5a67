"""Tasks of a working day, done by a model through a real graph and judged by what is there afterwards.

A task is what a user asks for, a start, and an end: what must hold in the providers' data, all else being as it was.
Here a script takes the model's part. It is sent what the tools returned, and nothing else, so that it shows what a
model can do with what it reads. `python -m tests.tasks --model openai:gpt-5` gives the same tasks to a chat model.
"""
