"""Makes the modules beside this file importable by all tests."""
