"""Tries expectations on a running lab: all at once, each until it holds or its time is up."""
