"""Evaluation: model + data + attack -> scores. Never trains."""
