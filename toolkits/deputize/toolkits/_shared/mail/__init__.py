"""Mail: headers, parsing of received mail, composition of sent mail."""
