"""The engines of one machine, without Docker: started, supervised and stopped by `pdm up`. Knows no role's logic."""
