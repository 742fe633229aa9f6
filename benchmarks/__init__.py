"""What flowlib costs, beside floors and peers. README.md says how to run it, RESULTS.md what came out."""
