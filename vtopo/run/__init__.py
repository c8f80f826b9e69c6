"""Carries plans out, and undoes what fails."""
