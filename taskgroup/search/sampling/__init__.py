"""Proposals of Optuna's samplers; nothing else imports Optuna."""
