"""What several do at once: tasks, threads, adapters and processes, and what their histories must look like."""
