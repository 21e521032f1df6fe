"""What Kubernetes is given: plain files, put together by kustomize."""
