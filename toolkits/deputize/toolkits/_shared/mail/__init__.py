"""Mail: headers, what arrives, what leaves."""
