"""Writes the reference pages and the manual pages from the models and the commands themselves."""
