from tenant_pipelines.adapters.s3.config import Feature, S3Config
from tenant_pipelines.adapters.s3.store import S3

__all__ = ["S3", "Feature", "S3Config"]
