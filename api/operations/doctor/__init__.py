"""Looks over an installation and says what is wrong, and what to do; changes nothing.

Only `scripts/doctor` loads it.
"""
