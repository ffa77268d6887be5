"""Search: many trials. Ray and Optuna stand only in ``tuner``."""
