"""Results as people see them: tables, figures, pages."""
