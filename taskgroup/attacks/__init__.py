"""Attacks: raise an Objective inside a threat model. The imports below are the list."""
