"""Releases of what runs on a cluster, each named here alone."""

from __future__ import annotations

ARGO = "4.0.10"
"""Argo Workflows: what `tapeline cluster` installs, and what the YAML is emitted for."""
ARGO_SCHEMAS = "4.0.5"
"""The release of the same minor version whose CRDs checks/schemas holds; Hera's models are of it, too."""
KFP = "2.17.0"
"""Kubeflow Pipelines: what `tapeline cluster engine=kfp` installs."""
TRAINING_OPERATOR = "1.9.4"
"""Kubeflow's training operator, whose TFJob checks/schemas holds."""
