"""The five collaboration modes, and the group of tasks that works under one."""
