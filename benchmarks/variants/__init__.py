"""Configurations changed in one respect, trained and evaluated."""
