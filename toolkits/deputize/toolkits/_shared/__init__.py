"""What toolkits share: text, time, lists, arguments. No toolkit of its own."""
