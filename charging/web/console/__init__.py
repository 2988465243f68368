"""The operator's console: pages for people, in the process of the public interface."""
