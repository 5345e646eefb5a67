"""Salesforce's tools, one module a subject: see `deputize.toolkits.salesforce`."""
