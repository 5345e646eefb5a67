"""The parts of the Gmail toolkit. The toolkit itself is `deputize.toolkits.gmail`."""
