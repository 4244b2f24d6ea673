"""The simulator role: machines that behave like those of the AI4I 2020 data set, sent to Kafka as a plant would."""
