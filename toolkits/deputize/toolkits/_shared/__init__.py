"""Code that toolkits share: text, time, lists, arguments. It declares no tools."""
