"""What `import evals` does, for programs: nothing here prints or exits, and errors are EvalError."""
