"""What a tool is: its declaration, the steps it yields, its toolkit, and how tools are found."""
