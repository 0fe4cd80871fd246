"""What is compared: our product, Temporal, DBOS, and Dagster as it comes; each with its servers, workers and client."""
