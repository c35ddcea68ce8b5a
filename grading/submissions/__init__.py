"""Submissions as they are handed in: files, folders and archives."""
