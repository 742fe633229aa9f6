"""Do: run one job where it lands and answer with an outcome. Executors know jobs and outcomes, nothing else."""
