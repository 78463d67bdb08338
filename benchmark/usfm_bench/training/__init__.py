"""Fine-tuning: one loop for segmentation and classification."""
