"""The role that people see: takes alerts in, tells about them, serves the API and the live pages."""
