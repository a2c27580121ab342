"""Versions of the systems on a cluster; no other file names them."""

from __future__ import annotations

ARGO = "4.0.10"
"""Argo Workflows: `tapeline cluster` installs this version, and the YAML is emitted for it."""
ARGO_SCHEMAS = "4.0.5"
"""The version of the CRDs in checks/schemas and of Hera's models; the same minor version."""
KFP = "2.17.0"
"""Kubeflow Pipelines: `tapeline cluster engine=kfp` installs this version."""
TRAINING_OPERATOR = "1.9.4"
"""Kubeflow's training operator: the version of the TFJob schema in checks/schemas."""
