"""Fields of KubeRay's RayCluster and RayJob (ray.io/v1), as version 1.6.2 has them.

Read from its API reference (docs/reference/api.md at the tag v1.6.2); which must be there, from its
custom resource definitions. `!` behind a name: required. A type is one of TYPES, of ENUMS, a table
here, a kind of Kubernetes (`k8s:`), or a list of one (`[...]`).
"""

VERSION = "1.6.2"

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}

ENUMS = {
    "AuthMode": {"disabled", "token"},
    "AutoscalerVersion": {"v1", "v2"},
    "JobSubmissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "PolicyType": {"DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone"},
    "ServiceType": {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"},
    "UpgradeType": {"Recreate", "None"},
    "UpscalingMode": {"Default", "Aggressive", "Conservative"},
}

FIELDS: dict[str, dict[str, str]] = {
    "RayCluster": {
        "apiVersion!": "string",
        "kind!": "string",
        "metadata!": "k8s:ObjectMeta",
        "spec!": "RayClusterSpec",
    },
    "RayJob": {
        "apiVersion!": "string",
        "kind!": "string",
        "metadata!": "k8s:ObjectMeta",
        "spec!": "RayJobSpec",
    },
    "RayClusterSpec": {
        "authOptions": "AuthOptions",
        "autoscalerOptions": "AutoscalerOptions",
        "enableInTreeAutoscaling": "boolean",
        "gcsFaultToleranceOptions": "GcsFaultToleranceOptions",
        "headGroupSpec!": "HeadGroupSpec",
        "headServiceAnnotations": "Strings",
        "managedBy": "string",
        "rayVersion": "string",
        "suspend": "boolean",
        "upgradeStrategy": "UpgradeStrategy",
        "workerGroupSpecs": "[WorkerGroupSpec]",
    },
    "AuthOptions": {
        "enableK8sTokenAuth": "boolean",
        "mode": "AuthMode",
        "secretName": "string",
    },
    "AutoscalerOptions": {
        "env": "k8s:Env",
        "envFrom": "k8s:EnvFrom",
        "idleTimeoutSeconds": "integer",
        "image": "string",
        "imagePullPolicy": "string",
        "resources": "k8s:Resources",
        "securityContext": "k8s:SecurityContext",
        "upscalingMode": "UpscalingMode",
        "version": "AutoscalerVersion",
        "volumeMounts": "k8s:VolumeMounts",
    },
    "GcsFaultToleranceOptions": {
        "externalStorageNamespace": "string",
        "redisAddress": "string",
        "redisPassword": "RedisCredential",
        "redisUsername": "RedisCredential",
    },
    "RedisCredential": {"value": "string", "valueFrom": "k8s:EnvVarSource"},
    "UpgradeStrategy": {"type": "UpgradeType"},
    "HeadGroupSpec": {
        "enableIngress": "boolean",
        "headService": "k8s:Service",
        "labels": "Strings",
        "rayStartParams": "Strings",
        "resources": "Strings",
        "serviceType": "ServiceType",
        "template!": "k8s:PodTemplate",
    },
    "WorkerGroupSpec": {
        "groupName!": "string",
        "idleTimeoutSeconds": "integer",
        "labels": "Strings",
        "maxReplicas!": "integer",
        "minReplicas!": "integer",
        "numOfHosts": "integer",
        "rayStartParams": "Strings",
        "replicas": "integer",
        "resources": "Strings",
        "scaleStrategy": "ScaleStrategy",
        "suspend": "boolean",
        "template!": "k8s:PodTemplate",
    },
    "ScaleStrategy": {"workersToDelete": "[string]"},
    "RayJobSpec": {
        "activeDeadlineSeconds": "integer",
        "backoffLimit": "integer",
        "clusterSelector": "Strings",
        "deletionStrategy": "DeletionStrategy",
        "entrypoint": "string",
        "entrypointNumCpus": "number",
        "entrypointNumGpus": "number",
        "entrypointResources": "string",
        "jobId": "string",
        "managedBy": "string",
        "metadata": "Strings",
        "preRunningDeadlineSeconds": "integer",
        "rayClusterSpec": "RayClusterSpec",
        "runtimeEnvYAML": "string",
        "shutdownAfterJobFinishes": "boolean",
        "submissionMode": "JobSubmissionMode",
        "submitterConfig": "SubmitterConfig",
        "submitterPodTemplate": "k8s:PodTemplate",
        "suspend": "boolean",
        "ttlSecondsAfterFinished": "integer",
    },
    "SubmitterConfig": {"backoffLimit": "integer"},
    "DeletionStrategy": {
        "deletionRules": "[DeletionRule]",
        "onFailure": "DeletionPolicy",
        "onSuccess": "DeletionPolicy",
    },
    "DeletionPolicy": {"policy": "PolicyType"},
    "DeletionRule": {"condition!": "DeletionCondition", "policy!": "PolicyType"},
    "DeletionCondition": {
        "jobDeploymentStatus": "string",
        "jobStatus": "string",
        "ttlSeconds": "integer",
    },
}
"""Every table also stands for the type of its name; `Strings` is a mapping from text to text."""
