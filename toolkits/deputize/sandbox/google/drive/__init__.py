"""Google Drive in the sandbox. Docs and Sheets are files here, with their text or rows in the file's record."""
