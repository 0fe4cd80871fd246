"""The few functions behind every door: REST, Temporal, GraphQL and UI launches, sensors, the command line."""
